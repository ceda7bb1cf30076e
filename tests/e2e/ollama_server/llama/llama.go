// Package llama stands for the one that runs models in C++. Nothing of it is reached by push and pull.
package llama

import "errors"

var errNone = errors.New("this server runs no models")

type Model struct{}

type ModelParams struct {
	VocabOnly bool
}

func LoadModelFromFile(string, ModelParams) (*Model, error) { return nil, errNone }

func FreeModel(*Model) {}

func SchemaToGrammar([]byte) []byte { return nil }

func (*Model) Tokenize(string, bool, bool) ([]int, error) { return nil, errNone }

func (*Model) TokenToPiece(int) string { return "" }
