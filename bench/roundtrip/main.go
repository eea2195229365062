// roundtrip joins two TUN devices and passes each packet on after half of a round-trip time, which is what a distance
// does and what a delay inside a server does not: it also slows the set-up of connections down.
//
//	roundtrip RTT DEVICE DEVICE
//
// It makes the devices in its own network namespace (whoever started it may then move them to others), prints
// `ready`, and ends with its standard input. The kernel removes the devices with it.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// A packet waits until its time; the devices' MTU is 1500.
type packet struct {
	due   time.Time
	bytes []byte
}

const mtu = 1500

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "roundtrip:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: roundtrip RTT DEVICE DEVICE")
	}
	rtt, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	near, err := openTun(args[1])
	if err != nil {
		return err
	}
	far, err := openTun(args[2])
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- pass(near, far, rtt/2) }()
	go func() { failed <- pass(far, near, rtt/2) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	fmt.Println("ready")
	return <-failed
}

// openTun makes a TUN device (linux/if_tun.h; Documentation/networking/tuntap.rst) whose packets have no header of
// their own.
func openTun(name string) (int, error) {
	// Blocking on purpose, and read with bare system calls: the runtime's poller waits in whole milliseconds.
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/net/tun: %w", err)
	}
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:syscall.IFNAMSIZ-1], name)
	request.flags = syscall.IFF_TUN | syscall.IFF_NO_PI
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return -1, fmt.Errorf("TUNSETIFF %s: %w", name, errno)
	}
	return fd, nil
}

// pass carries packets one way. Every packet waits equally long, so they stay in order in one queue.
func pass(from, to int, wait time.Duration) error {
	queue := make(chan packet, 4096)
	failed := make(chan error, 2)
	go func() {
		for {
			bytes := make([]byte, mtu)
			n, err := syscall.Read(from, bytes)
			if err == syscall.EINTR { // the Go runtime interrupts its threads now and then
				continue
			}
			if err != nil {
				failed <- fmt.Errorf("reading a packet: %w", err)
				return
			}
			queue <- packet{time.Now().Add(wait), bytes[:n]}
		}
	}()
	go func() {
		// time.Sleep goes through that same poller and would be up to a millisecond late; a thread's own
		// nanosleep is late by less than a tenth of that.
		runtime.LockOSThread()
		for p := range queue {
			for left := time.Until(p.due); left > 0; left = time.Until(p.due) {
				interval := syscall.NsecToTimespec(left.Nanoseconds())
				syscall.Nanosleep(&interval, nil)
			}
			// EIO: the other device is not up yet. A wire drops such a packet too.
			if _, err := syscall.Write(to, p.bytes); err != nil && err != syscall.EIO {
				failed <- fmt.Errorf("passing a packet on: %w", err)
				return
			}
		}
	}()
	return <-failed
}
