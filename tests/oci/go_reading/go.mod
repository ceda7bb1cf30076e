module goreading

go 1.25

require (
	github.com/containerd/containerd/v2 v2.1.4
	github.com/containers/image/v5 v5.36.2
	github.com/google/go-containerregistry v0.20.6
	github.com/opencontainers/go-digest v1.0.0
	github.com/opencontainers/image-spec v1.1.1
)
