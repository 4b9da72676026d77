package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/quirelog/quire/examples"
)

func main() {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// child is the program's other life; see crash.go.
func child(dir string, stdout, stderr io.Writer) int {
	visits, err := examples.AccessLog()
	if err == nil {
		err = writeUntilKilled(context.Background(), dir, visits, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart, the writing process:", err)
		return 1
	}
	return 0
}

const usage = `Quickstart writes ten thousand real events durably, kills the writer on the way, and reads everything back.

usage: go run ./examples/quickstart [-dir DIRECTORY]

`

// run is the program: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	dir := flags.String("dir", "", "`directory` to write to and to keep, empty or not there yet (default: a temporary one, removed at the end)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	good, err := inDirectory(*dir, func(dir string) (bool, error) {
		return tour(ctx, dir, stdout, stderr)
	})
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	if err != nil || !good {
		return 1
	}
	return 0
}

// inDirectory calls f with the directory, or with a temporary one that is gone afterwards.
func inDirectory(dir string, f func(dir string) (bool, error)) (good bool, err error) {
	if dir != "" {
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			return false, fmt.Errorf("directory %s is not empty", dir)
		}
		return f(dir)
	}
	if dir, err = os.MkdirTemp("", "quickstart-"); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return f(dir)
}
