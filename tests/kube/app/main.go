// SPDX-License-Identifier: Apache-2.0

// The application that tests trace in a cluster: client asks web by HTTP, web asks redis. Also what holds a pod's
// namespaces open ("pause"), so that one image is enough.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: app client [-requests N] [-rate PER_SECOND] [-workers N] [-reuse N] URL
       app web [-listen ADDRESS] REDIS_ADDRESS
       app pause`

func main() {
	modes := map[string]func([]string) error{"client": client, "web": web, "pause": pause}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := modes[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "app %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// pause sleeps until it is told to end. Orphans of the pod are its own once its process ids are shared.
func pause([]string) error {
	signal.Ignore(syscall.SIGCHLD) // the kernel then reaps them
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
	return nil
}
