package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program without the process around it: it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	t := &tool{ctx: ctx, stdin: stdin, stdout: out, stderr: stderr}
	err := t.choose("quire", commands(), args)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return t.status(err)
}
