package main

import (
	"math/rand/v2"
)

// preparedBatches is how many different batches a workload appends in turn: enough that no system sees the same bytes twice in a row,
// few enough that making them costs nothing.
const preparedBatches = 8

// makeValues gives n values of size bytes. They do not compress, and the same seed gives the same bytes to every system.
func makeValues(n, size int, seed uint64) [][]byte {
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	all := make([]byte, n*size)
	_, _ = src.Read(all) // never fails
	values := make([][]byte, n)
	for i := range values {
		values[i] = all[i*size : (i+1)*size : (i+1)*size]
	}
	return values
}

// prepare lets a store turn the workload's batches into its own form.
func prepare(a Appender, records, size int) []any {
	batches := make([]any, preparedBatches)
	for i := range batches {
		batches[i] = a.Prepare(makeValues(records, size, uint64(i)))
	}
	return batches
}
