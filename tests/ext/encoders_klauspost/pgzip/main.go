// Compresses stdin with pgzip at its default level. Writes the raw deflate stream to stdout.
package main

import (
	"bytes"
	"io"
	"log"
	"os"

	"github.com/klauspost/pgzip"
)

const headerSize, trailerSize = 10, 8

func main() {
	var out bytes.Buffer
	writer := pgzip.NewWriter(&out)
	if _, err := io.Copy(writer, os.Stdin); err != nil {
		log.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(out.Bytes()[headerSize : out.Len()-trailerSize]); err != nil {
		log.Fatal(err)
	}
}
