module encoders_go

go 1.19
