package proxy

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// Names below apps.internal lead to this machine in tests, and no name is looked up elsewhere. It is set before anything
// runs, as the resolver is shared by all.
func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serveNames(server)
		return client, nil
	}}
}

// serveNames responds to the queries on a connection (RFC 1035 §4.2.2).
func serveNames(conn net.Conn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		response := respondTo(query)
		if _, err := conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(response)))); err != nil {
			return
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}

// respondTo returns 127.0.0.1 for names below apps.internal, and for all others that they do not exist.
func respondTo(query []byte) []byte {
	end := 12
	var labels []string
	for query[end] != 0 {
		labels = append(labels, string(query[end+1:end+1+int(query[end])]))
		end += 1 + int(query[end])
	}
	known := strings.HasSuffix(strings.Join(labels, "."), ".apps.internal")
	isA := binary.BigEndian.Uint16(query[end+1:]) == 1
	response := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+5]...)
	switch {
	case !known:
		response[3] = 0x83 // there is no such name
	case isA:
		response[7] = 1
		response = append(response, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return response
}
