package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

// A result is what a run of the tool left.
type result struct {
	status         int
	stdout, stderr string
}

// quire runs the tool with a command line given as words with spaces between them; {dir} stands for the directory.
func quire(t *testing.T, dir, line, stdin string) result {
	t.Helper()
	var args []string
	for _, word := range strings.Fields(line) {
		args = append(args, strings.ReplaceAll(word, "{dir}", dir))
	}
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// good runs the tool and wants success.
func good(t *testing.T, dir, line, stdin string) string {
	t.Helper()
	r := quire(t, dir, line, stdin)
	require.Equal(t, 0, r.status, "%s\n%s%s", line, r.stdout, r.stderr)
	return r.stdout
}

var update = flag.Bool("update", false, "write the answers in testdata/*.script anew")

// A script is a talk with the tool, in blocks with an empty line between them. A block is comments (#), a command ($), its standard input
// (<) and its whole answer: standard output, standard error with "! " before each line, and the exit status if it is not 0. What differs
// from run to run is masked. "go test -update" writes the answers anew, to be read before they are kept.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.script")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".script"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, strings.TrimSpace(string(text)))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			assert.Equal(t, string(text), got)
		})
	}
}

// play runs a script's commands and returns it with the answers it got.
func play(t *testing.T, script string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	t.Setenv("QUIRE_DIR", dir)
	var blocks []string
	for _, block := range strings.Split(script, "\n\n") {
		var head, stdin strings.Builder
		command := ""
		for line := range strings.Lines(block + "\n") {
			if !strings.Contains("#$<", line[:1]) {
				break
			}
			head.WriteString(line)
			if rest, ok := strings.CutPrefix(line, "$ "); ok {
				command = rest
			}
			if rest, ok := strings.CutPrefix(line, "< "); ok {
				stdin.WriteString(rest)
			}
		}
		if command != "" {
			head.WriteString(answer(quire(t, dir, command, stdin.String()), dir))
		}
		blocks = append(blocks, head.String())
	}
	return strings.Join(blocks, "\n")
}

// masks hide what differs from run to run: times, topic ids, checksums, and the figures of measurements.
var masks = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "TIME"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT[\d:.]*Z`), "TIME"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`), "TIME"},
	{regexp.MustCompile(`\b1[6-9]\d{11}\b`), "MILLIS"},
	{regexp.MustCompile(`([ "])[A-Za-z0-9_-]{22}([\n",])`), "${1}ID$2"},
	{regexp.MustCompile(`(producer (?:id )?)\d+\b`), "${1}PID"},
	{regexp.MustCompile(`"(producerId|nextProducerId)":\d+`), `"$1":PID`},
	{regexp.MustCompile(`(crc |sum |bytes )[0-9a-f]{8}\b`), "${1}CRC"},
	{regexp.MustCompile(`"(crc|headerSum|CRC)":\d+`), `"$1":CRC`},
	{regexp.MustCompile(`\d+\.\d+`), "N"},
	{regexp.MustCompile(`, 0, \d+, N`), ", 0, N, N"},
	{regexp.MustCompile(`\d+ polls`), "N polls"},
}

// answer renders a result as a script has it.
func answer(r result, dir string) string {
	text := r.stdout
	for line := range strings.Lines(r.stderr) {
		text += "! " + line
	}
	if r.status != 0 {
		text += "exit " + string(rune('0'+r.status)) + "\n"
	}
	for _, m := range masks {
		text = m.re.ReplaceAllString(text, m.with)
	}
	return strings.ReplaceAll(text, dir, "{dir}")
}

func TestHelp(t *testing.T) {
	for _, line := range []string{
		"-h", "help", "topics -h", "topics list -h", "topics create -h", "topics alter -h", "topics delete -h", "describe -h",
		"produce -h", "consume -h", "dump -h", "verify -h", "repair -h", "rebuild-index -h",
		"backup -h", "restore -h", "scrub -h", "retain -h", "compact -h", "perf -h", "perf produce -h", "perf consume -h",
	} {
		r := quire(t, "", line, "")
		assert.Equal(t, 0, r.status, line)
		assert.Contains(t, r.stdout, "usage: quire", line)
		assert.Empty(t, r.stderr, line)
	}
}

func TestMisuse(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{
		"", "nonsense", "topics nonsense", "topics create -dir {dir}", "topics create -dir {dir} a b", "topics alter -dir {dir} a",
		"topics create -dir {dir} -set nonsense a", "describe -nonsense", "produce -dir {dir}", "produce -dir {dir} -acks 2 a",
		"produce -dir {dir} -compress brotli a", "consume -dir {dir}", "consume -dir {dir} -from yesterday a", "consume -dir {dir} -format xml a",
		"consume -dir {dir} -columns colour a", "consume -dir {dir} -partitions x a", "dump", "verify a b", "perf", "perf nonsense",
		"perf produce -dir {dir} -num-records 0 a", "perf consume",
	} {
		r := quire(t, dir, line, "")
		assert.Equal(t, 2, r.status, line)
		assert.Regexp(t, `^quire[ a-z]*: .*; see quire[ a-z]* -h\n$`, r.stderr, line)
		assert.Empty(t, r.stdout, line)
	}
}

func TestFailures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nothing")
	for _, line := range []string{
		"topics list -dir {dir}", "describe -dir {dir}", "consume -dir {dir} a", "verify {dir}", "dump {dir}/quire.slot", "perf consume -dir {dir} a",
	} {
		r := quire(t, dir, line, "")
		assert.Equal(t, 1, r.status, line)
		assert.Regexp(t, `^quire: .*\n$`, r.stderr, line)
		assert.Empty(t, r.stdout, line)
		assert.NoDirExists(t, dir, "%s made the directory", line)
	}
}

// A command that is not to create makes no directory of topics, neither out of nothing nor of a folder with other things, and says so.
func TestWrongDirectories(t *testing.T) {
	for _, line := range []string{
		"retain -dir {dir}", "compact -dir {dir}", "scrub -dir {dir}", "rebuild-index -dir {dir}", "topics alter -dir {dir} -partitions 2 a",
		"topics delete -dir {dir} a", "topics list -dir {dir}", "describe -dir {dir}", "verify {dir}", "repair {dir}", "produce -dir {dir} a",
		"backup -dir {dir} {dir}-copy", "restore {dir} {dir}-copy",
	} {
		dir := filepath.Join(t.TempDir(), "nothing")
		r := quire(t, dir, line, "one\n")
		assert.Equal(t, 1, r.status, line)
		assert.NoDirExists(t, dir, line)

		require.NoError(t, os.Mkdir(dir, 0o755))
		r = quire(t, dir, line, "one\n")
		assert.Equal(t, 1, r.status, "an empty directory: %s", line)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644))
		r = quire(t, dir, line, "one\n")
		assert.Equal(t, 1, r.status, "another's: %s", line)
		assert.Contains(t, r.stderr, "not a data directory", line)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, left, 1, line)
		assert.NoDirExists(t, dir+"-copy", line)
	}
}

// Each line of the tool's JSON is one object.
func TestJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	good(t, dir, "topics create -dir {dir} -partitions 2 a", "")
	good(t, dir, "produce -dir {dir} -key-separator = a", "k=v\nl=\xff\xfe\n")
	for _, line := range []string{
		"topics list -json -dir {dir}", "describe -json -dir {dir}", "consume -format json -dir {dir} a", "verify -json {dir}",
		"dump -json {dir}/quire.manifest", "dump -json {dir}/a-0/quire.slot {dir}/a-0/00000000000000000000.log",
	} {
		text := good(t, dir, line, "")
		assert.NotEmpty(t, text, line)
		for l := range strings.Lines(text) {
			var object map[string]any
			assert.NoError(t, json.Unmarshal([]byte(l), &object), "%s: %s", line, l)
		}
	}
	assert.Contains(t, good(t, dir, "consume -format json -dir {dir} a", ""), `"value":{"base64":"//4="}`)
}

// With -all, describe tells the settings that nobody chose too.
func TestDescribeAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	good(t, dir, "topics create -dir {dir} -set segment.bytes=4096 a", "")
	text := good(t, dir, "describe -all -dir {dir} a", "")
	assert.Contains(t, text, "  segment.bytes=4096\n")
	assert.Contains(t, text, "  quire.durability=sync  (default)\n")
	assert.NotContains(t, good(t, dir, "describe -dir {dir} a", ""), "(default)")
}

// The newer slot says how far the data is on disk.
func TestDumpSlot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	good(t, dir, "produce -create -dir {dir} a", "one\ntwo\n")
	assert.Regexp(t, `slot [01]: sequence \d+ durable 2 .* clean`, good(t, dir, "dump {dir}/a-0/quire.slot", ""))
}

// Commands that only read work beside a program that has the directory open; the others are told who has it.
func TestBesideWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	eng, err := topic.Open(dir)
	require.NoError(t, err)
	defer eng.Close()
	a, err := eng.Topic(t.Context(), "a")
	require.NoError(t, err)
	for _, value := range []string{"one", "two"} {
		_, err = a.Append(t.Context(), topic.Record{Value: []byte(value)})
		require.NoError(t, err)
	}
	assert.Equal(t, "one\ntwo\n", good(t, dir, "consume -dir {dir} a", ""))
	assert.Contains(t, good(t, dir, "describe -dir {dir} a", ""), "2     2")
	assert.Contains(t, good(t, dir, "topics list -dir {dir}", ""), "a  1 partitions")
	assert.Contains(t, good(t, dir, "verify {dir}", ""), "no damage")
	assert.Contains(t, good(t, dir, "perf consume -dir {dir} a", ""), ", 2, ")

	for _, line := range []string{"topics create -dir {dir} b", "topics alter -dir {dir} -partitions 2 a", "topics delete -dir {dir} a", "produce -dir {dir} a"} {
		r := quire(t, dir, line, "three\n")
		assert.Equal(t, 1, r.status, line)
		assert.Contains(t, r.stderr, "lock", line)
	}
	_, err = a.Append(t.Context(), topic.Record{Value: []byte("four")})
	assert.NoError(t, err, "the writer was not disturbed")
}

// Following shows what another program writes after the tool has begun.
func TestFollowSeesNewRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	eng, err := topic.Open(dir)
	require.NoError(t, err)
	defer eng.Close()
	a, err := eng.Topic(t.Context(), "a")
	require.NoError(t, err)
	put := func(value string) {
		_, err := a.Append(t.Context(), topic.Record{Value: []byte(value)})
		assert.NoError(t, err)
	}
	put("one")
	ctx, cancel := context.WithCancel(t.Context())
	out := &watcher{want: "one\n", then: func() { put("two") }}
	out.next = &watcher{want: "one\ntwo\n", then: cancel}
	var stderr bytes.Buffer
	assert.Equal(t, 0, run(ctx, []string{"consume", "-dir", dir, "-follow", "a"}, strings.NewReader(""), out, &stderr), stderr.String())
	assert.Equal(t, "one\ntwo\n", out.String())
}

// An interrupt ends a command that reads on.
func TestFollowEndsAtInterrupt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	good(t, dir, "topics create -dir {dir} a", "")
	good(t, dir, "produce -dir {dir} a", "one\n")
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	seen := &watcher{want: "one\n", then: cancel}
	assert.Equal(t, 0, run(ctx, []string{"consume", "-dir", dir, "-follow", "a"}, strings.NewReader(""), seen, &stderr), stderr.String())
	assert.Equal(t, "one\n", seen.String())
}

// A watcher is an output that calls a function when it has got what was wanted, and then waits for the next want.
type watcher struct {
	bytes.Buffer
	want string
	then func()
	next *watcher
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.then != nil && w.String() == w.want {
		w.then()
		w.then = nil
		if w.next != nil {
			w.want, w.then, w.next = w.next.want, w.next.then, w.next.next
		}
	}
	return n, err
}
