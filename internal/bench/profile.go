package main

import (
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
)

func (s settings) profiled() bool { return s.profile != "" || s.heap != "" }

// startProfile begins what -cpuprofile and -memprofile ask for; stop writes the files.
func startProfile(s settings, list []*workload) (stop func() error, err error) {
	stop = func() error { return nil }
	if !s.profiled() {
		return stop, nil
	}
	if len(list) != 1 {
		return nil, errors.New("a profile wants one workload: name it with -run")
	}
	if s.heap != "" {
		runtime.MemProfileRate = 1
	}
	if s.profile == "" {
		return s.writeHeap, nil
	}
	f, err := os.Create(s.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(f.Close(), s.writeHeap())
	}, nil
}

func (s settings) writeHeap() error {
	if s.heap == "" {
		return nil
	}
	return writeFile(s.heap, func(w io.Writer) error { return pprof.Lookup("allocs").WriteTo(w, 0) })
}
