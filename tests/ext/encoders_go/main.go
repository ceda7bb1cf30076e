// Command encoders_go writes standard input as a raw deflate stream of Go's compress/flate. The
// argument is the level: -1 or 1. Build it with Go 1.26 or older; later versions write other bytes.
package main

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	level, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	output := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder, err := flate.NewWriter(output, level)
	if err != nil {
		return err
	}
	// A plain read and write: the size of the writes decides in rare cases (docs/encoders.md, 2.3).
	plain, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if _, err := encoder.Write(plain); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	return output.Flush()
}
