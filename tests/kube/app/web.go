// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	redisTimeout = 5 * time.Second
	redisReuse   = 20 // commands a connection: a Service chooses a pod once a connection
)

// redis is a connection to a server, for one user at a time.
type redis struct {
	net.Conn
	answers *bufio.Reader
	used    int
}

// store asks a Redis server; connections that are not in use wait in idle.
type store struct {
	address string
	idle    chan *redis
}

// web answers each GET with its pod's name and how often that path was asked, which Redis counts.
func web(args []string) error {
	flags := flag.NewFlagSet("web", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address")
	flags.Parse(args)
	if flags.NArg() != 1 {
		return fmt.Errorf("the address of Redis is needed")
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	s := &store{address: flags.Arg(0), idle: make(chan *redis, 64)}
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		count, err := s.increment(r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "%s %d\n", pod, count)
	})
	return http.ListenAndServe(*listen, nil)
}

// increment adds one to a key: one command a call, so that there are as many commands as requests.
func (s *store) increment(key string) (int64, error) {
	c, err := s.get()
	if err != nil {
		return 0, err
	}
	count, err := c.increment(key)
	if err != nil || c.used >= redisReuse {
		c.Close()
		return count, err
	}
	select {
	case s.idle <- c:
	default:
		c.Close()
	}
	return count, nil
}

func (s *store) get() (*redis, error) {
	select {
	case c := <-s.idle:
		return c, nil
	default:
	}
	c, err := net.DialTimeout("tcp", s.address, redisTimeout)
	if err != nil {
		return nil, err
	}
	return &redis{Conn: c, answers: bufio.NewReader(c)}, nil
}

func (c *redis) increment(key string) (int64, error) {
	c.used++
	c.SetDeadline(time.Now().Add(redisTimeout))
	if _, err := fmt.Fprintf(c, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return 0, err
	}
	line, err := c.answers.ReadString('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, err
	}
	number, isNumber := strings.CutPrefix(strings.TrimSpace(line), ":")
	if !isNumber {
		return 0, fmt.Errorf("redis says %q", line)
	}
	return strconv.ParseInt(number, 10, 64)
}
