package eventtest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// start runs the service until the test ends, or until it ends by itself: then its error comes from the channel.
func start(t *testing.T, eng *topictest.Engine) <-chan error {
	t.Helper()
	eng.OpenTopic(Carts)
	ended := make(chan error, 1)
	ctx, engine := t.Context(), eng.Engine
	go func() { ended <- Remind(ctx, engine, 30*time.Minute) }()
	return ended
}

// cart appends what happens to a cart.
func cart(t *testing.T, eng *topictest.Engine, name, what string) {
	t.Helper()
	_, err := eng.OpenTopic(Carts).Append(t.Context(), topic.Record{Key: []byte(name), Value: []byte(what)})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhoDoesNotPayIsReminded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := topictest.New(t)
		start(t, eng)
		cart(t, eng, "anna", Filled)
		cart(t, eng, "ben", Filled)
		time.Sleep(20 * time.Minute) // takes no time: the bubble's clock jumps
		cart(t, eng, "ben", Paid)
		topictest.RequireKeys(t, eng.OpenTopic(Reminders))
		time.Sleep(11 * time.Minute)
		topictest.RequireKeys(t, eng.OpenTopic(Reminders), "anna")
	})
}

func TestNobodyIsRemindedTwice(t *testing.T) {
	for _, loss := range []topictest.Loss{topictest.LoseNothing, topictest.LoseUnsynced, topictest.LoseSome} {
		synctest.Test(t, func(t *testing.T) {
			eng := topictest.New(t)
			ended := start(t, eng)
			cart(t, eng, "anna", Filled)
			time.Sleep(time.Hour)
			cart(t, eng, "ben", Filled)

			eng.Crash(loss)
			<-ended // with an error: its engine is gone
			start(t, eng)
			time.Sleep(time.Hour)
			topictest.RequireKeys(t, eng.OpenTopic(Reminders), "anna", "ben")
		})
	}
}

func TestPaidWhileTheServiceWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := topictest.New(t)
		eng.OpenTopic(Carts)
		cart(t, eng, "anna", Filled)
		cart(t, eng, "ben", Filled)
		time.Sleep(20 * time.Minute)
		cart(t, eng, "ben", Paid)
		time.Sleep(time.Hour)
		start(t, eng)
		time.Sleep(2 * time.Second)
		topictest.RequireKeys(t, eng.OpenTopic(Reminders), "anna")
	})
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := topictest.New(t)
		ended := start(t, eng)
		cart(t, eng, "anna", Filled)
		synctest.Wait() // the service has made its topic
		eng.FailWrites(0)
		if err := <-ended; !errors.Is(err, topic.ErrNoSpace) { // half an hour later
			t.Fatalf("the service ended with %v", err)
		}
		eng.Heal()
		topictest.RequireKeys(t, eng.OpenTopic(Reminders))
		start(t, eng)
		time.Sleep(2 * time.Second)
		topictest.RequireKeys(t, eng.OpenTopic(Reminders), "anna")
	})
}

func TestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := topictest.New(t)
		eng.OpenTopic(Carts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Remind(ctx, eng.Engine, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}
