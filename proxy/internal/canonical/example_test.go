package canonical_test

import (
	"fmt"

	"sallyport/proxy/internal/canonical"
)

func ExampleHost() {
	for _, authority := range []string{"APP.Example.com.:8443", "[2001:DB8::A]", "user@app.example.com"} {
		host, err := canonical.Host(authority)
		fmt.Println(host, err)
	}
	// Output:
	// app.example.com <nil>
	// [2001:db8::a] <nil>
	//  the host is not a name or an address with an optional port
}

func ExamplePath() {
	for _, raw := range []string{"/%61/caf%c3%a9", "/group%2fproject", "/public/%2e%2e/admin"} {
		path, lenient, err := canonical.Path(raw)
		fmt.Println(path, lenient, err)
	}
	// Output:
	// /a/caf%C3%A9 false <nil>
	// /group%2Fproject true <nil>
	//  false the path is invalid, or different servers would read it differently
}
