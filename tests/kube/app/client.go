// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load is what all workers of a client share.
type load struct {
	url         string
	reuse       int64         // requests a connection: a Service chooses a pod once a connection
	turns       chan struct{} // one for each request that is due; closed after the last
	ok, failed  atomic.Int64
	firstFailed sync.Once
}

// client asks a URL and tells how often it was answered with 200. Without a number it goes on for ever.
func client(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	requests := flags.Int64("requests", 0, "how many; 0: without end")
	rate := flags.Float64("rate", 10, "requests a second")
	workers := flags.Int("workers", 8, "so many at once, at most")
	reuse := flags.Int64("reuse", 10, "requests a connection")
	flags.Parse(args)
	if flags.NArg() != 1 {
		return fmt.Errorf("one URL is needed")
	}
	l := &load{url: flags.Arg(0), reuse: *reuse, turns: make(chan struct{}, *workers)}
	go l.pace(*requests, *rate)
	var all sync.WaitGroup
	for i := 0; i < *workers; i++ {
		all.Add(1)
		go func() { defer all.Done(); l.work() }()
	}
	all.Wait()
	fmt.Printf("ok %d failed %d\n", l.ok.Load(), l.failed.Load())
	return nil
}

// pace hands out turns at the rate. Where workers are late, it waits for them and makes up for it.
func (l *load) pace(requests int64, rate float64) {
	begin := time.Now()
	for n := int64(0); requests == 0 || n < requests; n++ {
		time.Sleep(time.Until(begin.Add(time.Duration(float64(n) / rate * float64(time.Second)))))
		l.turns <- struct{}{}
	}
	close(l.turns)
}

func (l *load) work() {
	transport := &http.Transport{}
	asker := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for n := int64(1); ; n++ {
		if _, more := <-l.turns; !more {
			break
		}
		if err := ask(asker, l.url); err != nil {
			l.failed.Add(1)
			l.firstFailed.Do(func() { fmt.Println("first failure:", err) })
		} else {
			l.ok.Add(1)
		}
		if n%l.reuse == 0 {
			transport.CloseIdleConnections()
		}
	}
	transport.CloseIdleConnections()
}

// ask takes the whole answer, so that the connection can be used again.
func ask(asker *http.Client, url string) error {
	answer, err := asker.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}
