module github.com/quirelog/quire/internal/interop

go 1.25.0

require github.com/quirelog/quire v0.0.0

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	golang.org/x/sys v0.46.0 // indirect
)

replace github.com/quirelog/quire => ../..
