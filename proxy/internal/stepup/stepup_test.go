package stepup

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"sallyport/policy"
)

func TestParameters_ComeBack(t *testing.T) {
	for _, l := range []policy.Login{
		{}, {MaxAge: 15 * time.Minute}, {ACR: []string{"a", "b"}},
		{MaxAge: 400 * 24 * time.Hour}, {MaxAge: time.Hour, ACR: []string{"urn:x"}, AMR: []string{"mfa", "hwk"}, Context: []string{"c1"}},
	} {
		q := url.Values{"return_to": {"/x"}}
		SetParameters(q, &l)
		q, err := url.ParseQuery(q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got := FromParameters(q); !reflect.DeepEqual(got, l) {
			t.Errorf("%+v comes back as %+v", l, got)
		}
	}
	q := url.Values{}
	SetParameters(q, nil)
	if len(q) > 0 {
		t.Errorf("nothing is written as %q", q)
	}
}

func TestFromParameters_IgnoresWhatNoRuleDemands(t *testing.T) {
	for text, age := range map[string]time.Duration{"max_age=-1": 0, "max_age=0": 0, "max_age=59": 0, "max_age=60": time.Minute, "max_age=x": 0, "max_age=99999999999999999999": 0, "max_age=1e9": 0,
		"max_age=2592001": 2592001 * time.Second, "max_age=9223372036": 9223372036 * time.Second, "max_age=9223372037": 0, "acr=a%20b": 0, "acr=&max_age=60": time.Minute, "amr=" + strings.Repeat("x", 201): 0,
		"context=%00": 0, "context=%22": 0, strings.Repeat("acr=a&", 9): 0} {
		q, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := FromParameters(q); !reflect.DeepEqual(got, policy.Login{MaxAge: age}) {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestChallenge(t *testing.T) {
	const begin = `error="insufficient_user_authentication", error_description="why"`
	for want, l := range map[string]*policy.Login{
		"":                   nil,
		", max_age=60":       {MaxAge: time.Minute, AMR: []string{"mfa"}},
		`, acr_values="a b"`: {ACR: []string{"a", "b"}},
		`, claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`: {Context: []string{"c1", "c2"}},
	} {
		if got := Challenge("why", l); got != begin+want {
			t.Errorf("%s, want %s", got, begin+want)
		}
	}
}
