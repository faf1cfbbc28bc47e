package listen_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"sallyport/listen"
)

// A server serves plain HTTP until its context ends.
func ExampleOpen() {
	server, err := listen.Open(listen.Options{
		Name: "ops",
		Addr: "127.0.0.1:0",
		Log:  slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "ready")
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()

	resp, err := http.Get("http://" + server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(body), err)

	stop()
	fmt.Println(<-ended)
	// Output:
	// ready <nil>
	// <nil>
}

// A load balancer at a trusted address names the client.
func ExampleProxyProtocol_Listener() {
	trusted := func(addr netip.Addr) bool { return addr.IsLoopback() }
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l := listen.NewProxyProtocol(trusted, slog.New(slog.DiscardHandler)).Listener(tcp)
	defer l.Close()

	balancer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer balancer.Close()
	fmt.Fprint(balancer, "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n")

	conn, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.RemoteAddr())
	// Output: 203.0.113.7:4711
}
