package compress_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/quirelog/quire/compress"
)

func Example() {
	plain := bytes.Repeat([]byte("to be or not to be "), 100)
	packed, err := compress.Encode(nil, plain, compress.LZ4, compress.DefaultLevel)
	if err != nil {
		panic(err)
	}
	fmt.Printf("header % x, smaller: %v\n", packed[:7], len(packed) < len(plain)/10)

	again, err := compress.Decode(nil, packed, compress.LZ4, 1<<20)
	fmt.Println(bytes.Equal(again, plain), err)

	_, err = compress.Decode(nil, packed, compress.LZ4, 1000)
	fmt.Println(errors.Is(err, compress.ErrTooLarge))
	// Output:
	// header 04 22 4d 18 60 40 82, smaller: true
	// true <nil>
	// true
}

func ExampleParse() {
	c, err := compress.Parse("zstd")
	fmt.Println(c, int(c), err)
	_, err = compress.Parse("brotli")
	fmt.Println(err)
	// Output:
	// zstd 4 <nil>
	// compress: unknown codec: "brotli"
}
