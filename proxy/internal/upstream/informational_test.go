package upstream

import (
	"errors"
	"net/http"
	"net/textproto"
	"testing"
	"testing/synctest"
	"time"
)

// receiver is a function that receives informational responses.
type receiver func(code int, h http.Header)

// ReceiveInformational calls the function.
func (r receiver) ReceiveInformational(code int, h http.Header) { r(code, h) }

// TestInformational_Progress checks that an upstream may report progress once a second for as long as it likes, but not
// more often.
func TestInformational_Progress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passed := 0
		i := &informational{pass: receiver(func(int, http.Header) { passed++ })}
		i.begin(time.Now())
		h := textproto.MIMEHeader{"Upload-Offset": {"1"}}
		for range maxInformational + 1000 {
			time.Sleep(time.Second)
			if err := i.receive(104, h); err != nil {
				t.Fatal(err)
			}
		}
		if passed != maxInformational+1000 {
			t.Errorf("%d were passed on", passed)
		}
		for range maxInformational {
			if err := i.receive(104, h); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.receive(104, h); !errors.Is(err, ErrInformational) || !errors.Is(i.cause(errors.New("x")), ErrInformational) {
			t.Errorf("more than one a second: %v", err)
		}
	})
}
