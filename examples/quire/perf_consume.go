package main

import (
	"fmt"
	"time"

	"github.com/quirelog/quire/topic"
)

func (t *tool) perfConsume(name string, args []string) error {
	f := t.flags(name, "TOPIC", `Read records and print what kafka-consumer-perf-test prints, and the latency of the polls.
Nobody is rebalanced here, so that column is 0.`)
	dir := dirFlag(f)
	most := f.Int("messages", 0, "stop after so many records; 0: all there are")
	pollRecords := f.Int("max-poll-records", 500, "the most records of one poll")
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	return t.reading(*dir, func(eng *topic.Engine) error {
		have, err := t.existing(eng, rest[0])
		if err != nil {
			return err
		}
		c, err := eng.NewConsumer(topic.MaxPollRecords(*pollRecords))
		if err != nil {
			return err
		}
		defer c.Close()
		return t.drain(c, have, *most)
	})
}

// drain polls until the ends are reached and prints.
func (t *tool) drain(c *topic.Consumer, have *topic.Topic, most int) error {
	if err := c.AssignTopics(have.Name()); err != nil {
		return err
	}
	if err := c.SeekToStart(); err != nil {
		return err
	}
	var polls latencies
	var bytes int64
	records := 0
	begin := time.Now()
	for {
		behind, err := lag(c)
		if err != nil {
			return err
		}
		if behind == 0 || most > 0 && records >= most {
			break
		}
		asked := time.Now()
		list, err := c.Poll(t.ctx)
		if err != nil {
			return err
		}
		polls.add(time.Since(asked))
		records += len(list)
		for i := range list {
			bytes += int64(len(list[i].Key) + len(list[i].Value))
		}
	}
	t.report(begin, time.Now(), records, bytes, &polls)
	return nil
}

// lag is how many offsets are left in all partitions.
func lag(c *topic.Consumer) (total int64, err error) {
	for _, tp := range c.Assignment() {
		behind, err := c.Lag(tp)
		if err != nil {
			return 0, err
		}
		total += behind
	}
	return total, nil
}

func (t *tool) report(begin, end time.Time, records int, bytes int64, polls *latencies) {
	took := end.Sub(begin)
	perSecond, megabytes := rates(records, bytes, took)
	const stamp = "2006-01-02 15:04:05.000"
	fmt.Fprintln(t.stdout, "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
	fmt.Fprintf(t.stdout, "%s, %s, %.4f, %.4f, %d, %.4f, 0, %d, %.4f, %.4f\n", begin.Format(stamp), end.Format(stamp),
		float64(bytes)/(1<<20), megabytes, records, perSecond, took.Milliseconds(), megabytes, perSecond)
	fmt.Fprintf(t.stdout, "%d polls, %.2f ms avg latency, %.2f ms max latency, %s.\n", len(polls.all), ms(polls.mean()), ms(polls.most), polls.showPercentiles())
}
