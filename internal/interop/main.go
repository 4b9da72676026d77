package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	os.Exit(run())
}

func run() int {
	lib := flag.String("lib", "", "folder of Kafka's jars; run.sh fetches one")
	java := flag.String("java", "java", "the command that runs Java 17 or newer, with its compiler")
	only := flag.String("run", ".", "parts to run, a regular expression; b and c run together")
	keep := flag.Bool("keep", false, "keep the working directory and tell where it is")
	flag.Parse()
	parts, err := regexp.Compile(*only)
	if err != nil {
		return fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	j := jvm{ctx: ctx, java: *java, lib: *lib, here: "java"}
	if err := j.check(); err != nil {
		return fail(err)
	}
	work, err := os.MkdirTemp("", "quire-interop-")
	if err != nil {
		return fail(err)
	}
	if *keep {
		fmt.Println("working directory:", work)
	} else {
		defer os.RemoveAll(work)
	}
	began := time.Now()
	t := &tally{out: os.Stdout}
	if parts.MatchString("a") {
		judgeFiles(t, j, filepath.Join(work, "a"))
	}
	if parts.MatchString("b") || parts.MatchString("c") {
		judgeBrokers(t, j, filepath.Join(work, "b"))
	}
	if parts.MatchString("d") {
		judgeAssignors(t, j, filepath.Join(work, "d"))
	}
	fmt.Printf("took %.0f s\n%d passed, %d failed\n", time.Since(began).Seconds(), t.passed, t.failed)
	if t.failed > 0 || t.passed == 0 {
		return 1
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "interop:", err)
	return 2
}
