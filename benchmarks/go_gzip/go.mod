module dtrfast/benchmarks/go_gzip

go 1.26
