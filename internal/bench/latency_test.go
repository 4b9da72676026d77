package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLatencies(t *testing.T) {
	l := newLatencies(1000)
	for i := range 100 {
		l.add(time.Duration(100 - i))
	}
	assert.Equal(t, time.Duration(51), l.at(0.50))
	assert.Equal(t, time.Duration(100), l.at(0.99))
	assert.Zero(t, newLatencies(1).at(0.5))
	assert.Zero(t, (*latencies)(nil).at(0.5))
}

func TestLatenciesThinOutEvenly(t *testing.T) {
	l := newLatencies(64)
	for i := range 10000 {
		l.add(time.Duration(i))
	}
	assert.LessOrEqual(t, len(l.all), 64)
	assert.InDelta(t, 5000, float64(l.at(0.5)), 500)
}
