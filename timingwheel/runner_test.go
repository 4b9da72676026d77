package timingwheel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunnerFiresAtTheExactTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		began := time.Now()
		delays := []time.Duration{-time.Hour, 0, time.Millisecond, 64 * time.Millisecond, time.Second, time.Hour,
			7 * 24 * time.Hour, 20 * 365 * 24 * time.Hour}
		fired := make(map[time.Duration]time.Duration)
		timers := make([]Timer, len(delays))
		for i, d := range delays {
			timers[i].Value = func() { fired[d] = time.Since(began) }
			assert.False(t, r.After(&timers[i], d))
		}
		time.Sleep(21 * 365 * 24 * time.Hour)
		synctest.Wait()
		for _, d := range delays {
			assert.Equal(t, max(d, 0), fired[d])
		}
		assert.Zero(t, r.Len())
	})
}

func TestRunnerSleepsOnlyForSlotsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rings atomic.Int32
		r := NewRunner(RunnerConfig{Go: func(f func()) bool { rings.Add(1); go f(); return true }})
		idle := runtime.NumGoroutine()
		tm := Timer{Value: func() {}}
		r.After(&tm, 365*24*time.Hour)
		time.Sleep(364 * 24 * time.Hour)
		synctest.Wait()
		assert.Equal(t, idle, runtime.NumGoroutine(), "no goroutine while it waits")
		assert.LessOrEqual(t, rings.Load(), int32(maxLevels))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		assert.False(t, tm.Pending())
		assert.Equal(t, idle, runtime.NumGoroutine())
	})
}

func TestRunnerFiresInOrderAndNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		rng := rand.New(rand.NewPCG(3, 4))
		timers := make([]Timer, 2000)
		var mu sync.Mutex // guards what follows; held while a timer is set too, so that none fires in between
		due := make([]time.Time, len(timers))
		fired := make([]int, len(timers))
		var last time.Time
		want := 0
		set := func(i int) {
			d := time.Duration(rng.Int64N(int64(time.Hour)))
			due[i] = time.Now().Add(d)
			r.After(&timers[i], d)
			want++
		}
		for i := range timers {
			timers[i].Value = func() {
				mu.Lock()
				defer mu.Unlock()
				late := time.Since(due[i])
				assert.True(t, late >= 0 && late < Tick, "late by %v", late)
				assert.Greater(t, due[i].Sub(last), -Tick, "order")
				last = due[i]
				if fired[i]++; fired[i] == 1 && i%10 == 0 {
					set(i) // again, from within
				}
			}
		}
		for i := range timers {
			mu.Lock()
			set(i)
			if k := rng.IntN(i + 1); rng.IntN(4) == 0 && r.Stop(&timers[k]) {
				want--
			}
			pause := time.Duration(rng.Int64N(int64(time.Second)))
			mu.Unlock()
			time.Sleep(pause)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		got := 0
		for _, n := range fired {
			got += n
		}
		assert.Equal(t, want, got)
		assert.Zero(t, r.Len())
	})
}

func TestCallbackThatHangsStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		began := time.Now()
		hang := make(chan struct{})
		var mu sync.Mutex
		at := map[int]time.Duration{}
		timers := make([]Timer, 6)
		for i := range timers {
			timers[i].Value = func() {
				mu.Lock()
				at[i] = time.Since(began)
				mu.Unlock()
				if i < 2 {
					<-hang
				}
			}
			r.After(&timers[i], time.Second)
		}
		var later Timer
		later.Value = func() { assert.Equal(t, time.Minute, time.Since(began)) }
		r.After(&later, time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Len(t, at, 6)
		for i := range timers {
			assert.LessOrEqual(t, at[i], time.Second+4*patience, "two hang, each for two looks at most")
		}
		assert.Zero(t, r.Len())
		close(hang)
		synctest.Wait()
		again := false
		later.Value = func() { again = true }
		r.After(&later, time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.True(t, again, "those that come back do no harm")
	})
}

func TestCallbackThatPanicsOrEndsItsGoroutineStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []any
		r := NewRunner(RunnerConfig{Panicked: func(v any, stack []byte) {
			seen = append(seen, v)
			assert.Contains(t, string(stack), "runner_test.go")
		}})
		ran := 0
		timers := make([]Timer, 9)
		for i := range timers {
			timers[i].Value = func() {
				ran++
				switch i % 3 {
				case 0:
					panic(i)
				case 1:
					runtime.Goexit()
				}
			}
			r.After(&timers[i], time.Second)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 9, ran)
		assert.Equal(t, []any{0, 3, 6}, seen)
	})
}

func TestCloseLetsNothingFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		fired := 0
		timers := make([]Timer, 3)
		timers[0].Value = func() { fired++; r.Close() }
		timers[1].Value = func() { fired++ }
		timers[2].Value = func() { fired++ }
		for i := range timers {
			r.After(&timers[i], time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		r.After(&timers[0], 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, fired)
	})
}

func TestRunnerStopsWhenItsOwnerStartsNoMoreGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{Go: func(func()) bool { return false }})
		tm := Timer{Value: func() { t.Error("fired") }}
		r.After(&tm, time.Second)
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

func TestRunnerBearsAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		const workers, each = 4, 500
		var mu sync.Mutex
		fired, stopped := 0, 0
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 9))
				timers := make([]Timer, each)
				for i := range timers {
					timers[i].Value = func() { mu.Lock(); fired++; mu.Unlock() }
					r.After(&timers[i], time.Duration(rng.Int64N(int64(time.Second))))
					time.Sleep(time.Duration(rng.Int64N(int64(time.Millisecond))))
					if r.Stop(&timers[rng.IntN(i+1)]) {
						mu.Lock()
						stopped++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, workers*each, fired+stopped, "each fired or was stopped, once")
	})
}

func TestDelayBeyondTheEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		time.Sleep(time.Second)
		tm := Timer{Value: func() { t.Error("fired") }}
		r.After(&tm, math.MaxInt64)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.True(t, r.Stop(&tm))
	})
}

// Summer and winter time change what a clock on the wall shows, not how long an hour is.
func TestDaylightSavingMovesNoDeadline(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Log("no time zones on this machine: UTC stands in")
		zone = time.UTC
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2000, 3, 26, 1, 30, 0, 0, zone)))
		r := NewRunner(RunnerConfig{})
		began, took := time.Now(), time.Duration(0)
		tm := Timer{Value: func() { took = time.Since(began) }}
		r.After(&tm, 2*time.Hour)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		assert.Equal(t, 2*time.Hour, took)
	})
}

func TestRunnerAllocatesNothingPerTimer(t *testing.T) {
	r := NewRunner(RunnerConfig{})
	defer r.Close()
	timers := make([]Timer, 100)
	for i := range timers {
		timers[i].Value = func() {}
	}
	round := func() {
		for i := range timers {
			r.After(&timers[i], time.Hour+time.Duration(i)*time.Second)
		}
		for i := range timers {
			r.Stop(&timers[i])
		}
	}
	round()
	assert.Zero(t, testing.AllocsPerRun(20, round))
}

func ExampleRunner() {
	r := NewRunner(RunnerConfig{})
	defer r.Close()
	done := make(chan string, 2)
	hello := Timer{Value: func() { done <- "hello" }}
	world := Timer{Value: func() { done <- "world" }}
	never := Timer{Value: func() { done <- "never" }}
	r.After(&world, 4*time.Millisecond)
	r.After(&never, 3*time.Millisecond)
	r.After(&hello, 2*time.Millisecond)
	r.Stop(&never)
	list := []string{<-done, <-done}
	fmt.Println(slices.Sorted(slices.Values(list)))
	// Output: [hello world]
}
