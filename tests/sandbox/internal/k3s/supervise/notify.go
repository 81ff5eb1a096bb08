// SPDX-License-Identifier: GPL-3.0-or-later

package supervise

import (
	"net"
	"os"
)

// NotifyReady tells systemd that a unit of Type=notify is up; without systemd
// there is no one to tell.
func NotifyReady() error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	if address[0] == '@' { // the abstract name space
		address = "\x00" + address[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
