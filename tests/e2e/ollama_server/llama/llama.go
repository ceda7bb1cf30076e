// Package llama replaces the package that runs models in C++. Push and pull never call it.
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
