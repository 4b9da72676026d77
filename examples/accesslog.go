package examples

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"time"
)

// accessLog is testdata/apache_access.log.gz; testdata/NOTICE tells where it comes from.
//
//go:embed testdata/apache_access.log.gz
var accessLog []byte

// A Visit is one line of the access log.
type Visit struct {
	Line   int       // counted from 0
	Client string    // the address the request came from
	Time   time.Time // when the server logged it, to the second
	Text   []byte    // the whole line, without its newline
}

// AccessLog unpacks the ten thousand lines, in the order of the file. Their times are nearly ascending, as a busy server writes them, and
// not quite. The result belongs to the caller.
func AccessLog() ([]Visit, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(accessLog))
	if err != nil {
		return nil, fmt.Errorf("examples: access log: %w", err)
	}
	var visits []Visit
	lines := bufio.NewScanner(unpacked)
	for lines.Scan() {
		v, err := parseVisit(bytes.Clone(lines.Bytes()))
		if err != nil {
			return nil, fmt.Errorf("examples: access log: line %d: %w", len(visits), err)
		}
		v.Line = len(visits)
		visits = append(visits, v)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("examples: access log: %w", err)
	}
	return visits, nil
}

// visitTime is the layout of the time in Apache's combined log format.
const visitTime = "02/Jan/2006:15:04:05 -0700"

// parseVisit finds the client and the time in a line like
//
//	83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /" 200 203023 "-" "Mozilla/5.0"
func parseVisit(text []byte) (Visit, error) {
	client, rest, ok1 := bytes.Cut(text, []byte(" "))
	_, rest, ok2 := bytes.Cut(rest, []byte("["))
	stamp, _, ok3 := bytes.Cut(rest, []byte("]"))
	if !ok1 || !ok2 || !ok3 {
		return Visit{}, fmt.Errorf("not in the combined log format: %.80q", text)
	}
	at, err := time.Parse(visitTime, string(stamp))
	if err != nil {
		return Visit{}, err
	}
	return Visit{Client: string(client), Time: at.UTC(), Text: text}, nil
}
