// Compresses a file with Go's compress/gzip at the default level, to standard output, and prints the
// processor time of the compression alone, in seconds, on standard error.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"syscall"
)

func processorSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

func main() {
	plain, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var packed bytes.Buffer
	packed.Grow(len(plain))
	before := processorSeconds()
	writer := gzip.NewWriter(&packed)
	if _, err := io.Copy(writer, bytes.NewReader(plain)); err != nil {
		panic(err)
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, processorSeconds()-before)
	if _, err := os.Stdout.Write(packed.Bytes()); err != nil {
		panic(err)
	}
}
