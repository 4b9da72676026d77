package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ledgerFile sums up runs, one line each, the newest last.
const ledgerFile = "LEDGER.md"

const ledgerHead = `# Ledger of proof runs

| Date | Commit | Tier | Seed | Lanes: cases | Bad | Seconds |
|---|---|---|---|---|---|---|
`

// writeLedger appends this run.
func (r *runner) writeLedger(took time.Duration) error {
	f, err := os.OpenFile(ledgerFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		if _, err := f.WriteString(ledgerHead); err != nil {
			return err
		}
	}
	var counts []string
	var bad int64
	for _, t := range r.tallies {
		counts = append(counts, fmt.Sprintf("%s %d", t.lane.name, t.cases.Load()))
		bad += t.bad()
	}
	_, err = fmt.Fprintf(f, "| %s | %s | %s | %d | %s | %d | %.0f |\n", time.Now().UTC().Format(time.DateOnly),
		commit(), r.tier, r.seed, strings.Join(counts, ", "), bad, took.Seconds())
	return err
}

// commit names the code that ran; changes not committed are marked.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
