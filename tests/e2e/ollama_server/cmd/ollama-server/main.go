// Command ollama-server is ollama's server without its command line. It listens on OLLAMA_HOST.
package main

import (
	"log"
	"net"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/server"
)

func main() {
	listener, err := net.Listen("tcp", envconfig.Host().Host)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}
