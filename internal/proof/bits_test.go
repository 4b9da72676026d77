package main

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkFlip is the cost of one case of lane bits, over all files as they come.
func BenchmarkFlip(b *testing.B) {
	ref, err := buildReference(referenceBytes)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(ref.total()), "bytes")
	b.ReportMetric(float64(len(ref.files)), "files")
	own, dice := ref.fork(), rand.New(rand.NewPCG(1, 2))
	layout := ref.layout()
	for b.Loop() {
		at := dice.Int64N(ref.total())
		i := 0
		for layout[i+1] <= at {
			i++
		}
		if _, err := flip(own, ref.files[i], at-layout[i], dice.IntN(8)); err != nil {
			b.Fatal(err)
		}
	}
}
