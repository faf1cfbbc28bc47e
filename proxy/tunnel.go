package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/upstream"
)

// errTunneled ends an exchange that goes on as a tunnel.
var errTunneled = errors.New("the exchange has become a tunnel")

// tunnelBuffer is the size of the buffer of one direction of a tunnel. It is small because thousands may be idle.
const tunnelBuffer = 2 << 10

// tunnel sends the client the 101 of the upstream and then copies bytes both ways, on goroutines of its own. The handler
// returns meanwhile, and with it goes the memory that net/http keeps for a request. The request stays live until both
// sides have ended, one of them fails, or it is cut.
func (ex *exchange) tunnel(res *http.Response) error {
	target, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return errors.New("the upstream's connection cannot be written to after a 101")
	}
	head := *res
	head.Body, res.Body = nil, http.NoBody
	client, err := ex.rw.BeginTunnel(&head, target, ex.uses)
	if err != nil {
		_ = target.Close()
		return err
	}
	ex.live.tunneled = true
	ex.out, ex.brought = upstream.Request{}, nil // lets the memory of the request go
	go ex.runTunnel(client, target)
	return errTunneled
}

// runTunnel copies both ways until both directions have ended.
func (ex *exchange) runTunnel(client *response.FrameTracker, target io.ReadWriteCloser) {
	var first atomic.Pointer[response.Cause] // the side that ended first
	ended := func(by response.Cause) { first.CompareAndSwap(nil, &by) }
	down, up := side{client, response.ByClient}, side{target, response.ByUpstream}
	var both sync.WaitGroup
	both.Go(func() { copyHalf(down, up, ended) })
	copyHalf(up, down, ended)
	both.Wait()
	_, _ = target.Close(), client.Close()
	ex.proxy.live.leave(ex.live)
	ex.reportEnd(*first.Load())
}

// side is one of the two ends of a tunnel.
type side struct {
	io.ReadWriteCloser
	name response.Cause
}

// copyHalf copies from one side of a tunnel to the other, and closes the writing side of to when from ends. If reading
// or writing fails, it closes both. It calls ended with the side that ended the copying first: the other side may end as soon
// as it sees that.
func copyHalf(to, from side, ended func(response.Cause)) {
	buf := make([]byte, tunnelBuffer)
	for {
		read, err := from.Read(buf)
		if read > 0 {
			if _, err := to.Write(buf[:read]); err != nil {
				ended(to.name)
				_, _ = to.Close(), from.Close()
				return
			}
		}
		if err != nil {
			ended(from.name)
			if !errors.Is(err, io.EOF) || response.CloseWrite(to.ReadWriteCloser) != nil {
				_, _ = to.Close(), from.Close()
			}
			return
		}
	}
}
