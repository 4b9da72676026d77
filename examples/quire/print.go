package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quirelog/quire/topic"
)

// json writes one value as a line of JSON.
func (t *tool) json(v any) error {
	enc := json.NewEncoder(t.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// text is bytes as JSON shows them: a string if they are UTF-8, otherwise an object with base64; null stays null.
type text []byte

// MarshalJSON chooses the form.
func (b text) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// recordFact is a record in JSON.
type recordFact struct {
	Topic     string       `json:"topic,omitempty"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Time      *time.Time   `json:"time"` // null when the record carries none
	Key       text         `json:"key"`
	Value     text         `json:"value"`
	Headers   []headerFact `json:"headers,omitempty"`
}

type headerFact struct {
	Key   string `json:"key"`
	Value text   `json:"value"`
}

func recordFacts(rec *topic.Record) recordFact {
	f := recordFact{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value}
	if !rec.Time.IsZero() {
		at := rec.Time.UTC()
		f.Time = &at
	}
	f.Headers = headerFacts(rec.Headers)
	return f
}

func headerFacts(headers []topic.Header) []headerFact {
	var list []headerFact
	for _, h := range headers {
		list = append(list, headerFact{h.Key, h.Value})
	}
	return list
}

// columns is what the text form shows of a record before its value.
type columns []string

var columnNames = []string{"partition", "offset", "time", "key", "headers"}

// parseColumns reads a list of column names with commas between them.
func parseColumns(list string) (columns, error) {
	if list == "" {
		return nil, nil
	}
	c := columns(strings.Split(list, ","))
	for _, name := range c {
		if !strings.Contains(","+strings.Join(columnNames, ",")+",", ","+name+",") {
			return nil, fmt.Errorf("no column %q; there are: %s", name, strings.Join(columnNames, ", "))
		}
	}
	return c, nil
}

// print writes a record as a line: the columns, a tab behind each, and the value as it is.
func (c columns) print(w io.Writer, rec *topic.Record) error {
	var line strings.Builder
	for _, name := range c {
		switch name {
		case "partition":
			fmt.Fprintf(&line, "%d\t", rec.Partition)
		case "offset":
			fmt.Fprintf(&line, "%d\t", rec.Offset)
		case "time":
			fmt.Fprintf(&line, "%s\t", showTime(rec.Time))
		case "key":
			fmt.Fprintf(&line, "%s\t", showBytes(rec.Key))
		case "headers":
			fmt.Fprintf(&line, "%s\t", showHeaders(rec.Headers))
		}
	}
	_, err := fmt.Fprintf(w, "%s%s\n", line.String(), showBytes(rec.Value))
	return err
}

func showBytes(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

func showTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// showMillis is showTime for a stored timestamp.
func showMillis(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return showTime(time.UnixMilli(ms))
}

func showHeaders(headers []topic.Header) string {
	var list []string
	for _, h := range headers {
		list = append(list, h.Key+":"+showBytes(h.Value))
	}
	return strings.Join(list, ",")
}
