package postgrestest

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
)

// Clone makes a database with the content of another, to which nobody may be connected, and returns its connection string.
func (s *Server) Clone(of string) string {
	s.t.Helper()
	from, err := url.Parse(of)
	if err != nil {
		s.t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	s.must("createdb", "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--username", "sallyport", "--template", path.Base(from.Path), name)
	from.Path = "/" + name
	return from.String()
}
