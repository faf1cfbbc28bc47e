package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"sallyport/admin"
)

// peerUser is the user of the system who opened a connection to the control socket.
type peerUser struct {
	uid int
	err error // why the user is unknown
}

type peerKey struct{}

// withPeer keeps who opened conn for [peerActor]. It is an [http.Server.ConnContext] and runs between two connections:
// the name of the user, which may take long to look up, is left to peerActor.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	uid, err := peerUID(conn)
	return context.WithValue(ctx, peerKey{}, peerUser{uid, err})
}

// peerActor returns the operator who opened the connection of a request. Without one, nothing may be done.
func peerActor(ctx context.Context) (admin.Actor, error) {
	peer, ok := ctx.Value(peerKey{}).(peerUser)
	if !ok {
		return admin.Actor{}, errors.New("who opened the connection to the control socket is unknown")
	}
	if peer.err != nil {
		return admin.Actor{}, fmt.Errorf("finding out who opened the connection to the control socket: %w", peer.err)
	}
	return admin.Operator(systemUserName(peer.uid), "control socket"), nil
}

// systemUserName returns the name of a user of the system, or "uid 1000" for one without a name.
func systemUserName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || u.Username == "" {
		return "uid " + strconv.Itoa(uid)
	}
	return u.Username
}
