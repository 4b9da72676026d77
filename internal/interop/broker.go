package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A broker is one node of Kafka, broker and controller at once, on the loopback interface.
type broker struct {
	jvm     jvm
	address string
	dir     string // its data directory
	config  string
	logs    string // path of what it logs; each start begins a new file
	starts  int
	cmd     *exec.Cmd
	ended   <-chan struct{}
	acked   []acked // what it acknowledged under load before it was killed
}

// brokerSettings make a broker that writes, cleans and checkpoints often, and takes no more room than it must.
const brokerSettings = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
log.index.size.max.bytes=100000
log.initial.task.delay.ms=200
log.retention.check.interval.ms=500
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=16777216
log.flush.offset.checkpoint.interval.ms=1000
log.flush.start.offset.checkpoint.interval.ms=200
`

// newBroker formats the directory of a new cluster.
func newBroker(j jvm, work string) (*broker, error) {
	b := &broker{jvm: j, dir: filepath.Join(work, "broker"), config: filepath.Join(work, "server.properties")}
	ports := make([]string, 2)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // both at once, so that they differ
		ports[i] = l.Addr().String()
	}
	b.address = ports[0]
	text := fmt.Sprintf(brokerSettings, ports[0], ports[1], b.dir)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	_, err := j.run(storageTool, "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", b.config)
	return b, err
}

// start starts the broker and waits until it answers.
func (b *broker) start() error {
	b.starts++
	b.logs = filepath.Join(filepath.Dir(b.dir), fmt.Sprintf("broker-%d.log", b.starts))
	f, err := os.Create(b.logs)
	if err != nil {
		return err
	}
	defer f.Close()
	b.cmd = b.jvm.command(b.jvm.ctx, kafkaServer, b.config)
	b.cmd.Stdout, b.cmd.Stderr = f, f
	if err := b.cmd.Start(); err != nil {
		return err
	}
	ended, cmd := make(chan struct{}), b.cmd
	var how error
	go func() {
		how = cmd.Wait()
		close(ended)
	}()
	b.ended = ended
	for until := time.Now().Add(patience); time.Now().Before(until); {
		c, err := net.DialTimeout("tcp", b.address, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ended:
			b.cmd = nil
			return fmt.Errorf("the broker ended: %w\n%s", how, b.logged())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("the broker did not come up\n%s", b.logged())
}

func (b *broker) logged() string {
	text, _ := os.ReadFile(b.logs)
	return lastLines(string(text))
}

// stop stops the broker in good order.
func (b *broker) stop() error {
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-b.ended: // 130: ended by the signal, after its shutdown
		b.cmd = nil
		return nil
	case <-time.After(patience):
		b.kill()
		return fmt.Errorf("the broker did not stop\n%s", b.logged())
	}
}

// kill ends the broker without a warning, if it runs.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.ended
	b.cmd = nil
}

// complaints are the warnings and errors that the broker logged since its last start and that chosen lets through.
func (b *broker) complaints(chosen func(line string) bool) ([]string, error) {
	text, err := os.ReadFile(b.logs)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range lines(string(text)) {
		if (strings.Contains(line, " WARN ") || strings.Contains(line, " ERROR ")) && chosen(line) {
			list = append(list, line)
		}
	}
	return list, nil
}

// mentions counts the lines logged since the last start that hold all of the words.
func (b *broker) mentions(words ...string) (n int, err error) {
	text, err := os.ReadFile(b.logs)
	if err != nil {
		return 0, err
	}
	for _, line := range lines(string(text)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n, nil
}

// client lets Kafka's clients do jobs, see java/Client.java, and waits for their end.
func (b *broker) client(jobs ...string) error {
	_, err := b.jvm.run(append([]string{b.jvm.source("Client.java"), b.address}, jobs...)...)
	return err
}

// An acked is a record that a broker has acknowledged.
type acked struct {
	partition int32
	offset    int64
	key       string
}

// killUnderLoad does jobs, the last of which writes for ever, and kills the broker once it has acknowledged n records, and the client.
func (b *broker) killUnderLoad(n int, jobs ...string) error {
	ctx, cancel := context.WithTimeout(b.jvm.ctx, patience)
	defer cancel()
	cmd := b.jvm.command(ctx, append([]string{b.jvm.source("Client.java"), b.address}, append(jobs, "load")...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return err
	}
	var once sync.Once
	for text := bufio.NewScanner(out); text.Scan(); {
		var a acked
		if _, err := fmt.Sscanf(text.Text(), "acked %d %d %s", &a.partition, &a.offset, &a.key); err != nil {
			continue
		}
		if b.acked = append(b.acked, a); len(b.acked) >= n {
			once.Do(func() {
				b.kill()
				time.AfterFunc(time.Second, cancel) // what was acknowledged before is still on its way to us
			})
		}
	}
	_ = cmd.Wait()
	if len(b.acked) < n {
		return fmt.Errorf("%d records acknowledged instead of %d\n%s", len(b.acked), n, lastLines(complaints.String()))
	}
	return nil
}
