// Package flowtest has the values with which tests try to lead a browser away from our hosts.
package flowtest

import (
	"strings"

	"sallyport/proxy/internal/flow"
)

// BadReturns returns values of return_to that must be rejected and lead to the root. They are those of CVE-2020-4037,
// CVE-2020-5233, CVE-2020-11053, CVE-2021-21291 (oauth2-proxy), CVE-2026-83589 (OpenShift oauth-proxy), CVE-2021-32786,
// CVE-2021-39191 (mod_auth_openidc), CVE-2021-29651 (Pomerium), CVE-2025-67713, CVE-2026-55500 (Miniflux),
// CVE-2026-28512 (Pocket ID, userinfo), CVE-2022-28923 (Caddy), and Ory's on the boundary of DNS labels.
func BadReturns() []string {
	bad := []string{
		"", " ", "evil.example", "evil.example/", "a", "?x", "#x", ".", "..", "./", "../", "./evil.example", ";//evil.example",
		"//evil.example", "///evil.example", "////evil.example", "//evil.example/%2f..", "//evil.example/%2e%2e",
		`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `//\evil.example`, `\evil.example`, `/\\evil.example`, `///\evil.example`,
		"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\t\\evil.example", "\t//evil.example", " //evil.example", "/ /evil.example",
		"/\x00/evil.example", "\x00//evil.example", "/\x0b/evil.example", "/\x0c/evil.example", "/\x1f/evil.example", "/\x7f/evil.example",
		"//evil.example\t", "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example", "/%00/evil.example", "/%5cevil.example", "/%5Cevil.example",
		"/%2fevil.example", "/%2Fevil.example", "/%2f%2fevil.example", "/%5c%5cevil.example", "/%2f%5cevil.example", "/%5c/evil.example", "/%7f",
		"%2f%2fevil.example", "%2Fevil.example", "%5c%5cevil.example", "/%", "/%zz", "/%2", "/%c0%af%zz",
		"/.//evil.example", "/..//evil.example", "/../evil.example", "/./evil.example", "/a/..//evil.example", "/a//evil.example", "/a/../..//evil.example",
		"/%2e/evil.example", "/%2e%2e//evil.example", "/.%2e/evil.example", "/%2e%2e%2fevil.example", "/a/%2e%2e/%2e%2e//evil.example", "/..", "/.", "/a/..",
		"http:evil.example", "http:/evil.example", "http:///evil.example", "http://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
		"https://evil.example", "https://evil.example/", "HTTPS://evil.example", "hTTps:evil.example", "https:\\evil.example", `https:\\evil.example`, `https:/\evil.example`,
		"h\nttps://evil.example", "https:\n//evil.example", "ht\ttps://evil.example", "https://\tevil.example", "\x01https://evil.example", " https://app.example.com/",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", "javascript://app.example.com/%0aalert(1)", "javascript:///app.example.com",
		"data:text/html,x", "data://app.example.com/x", "vbscript:x", "blob:https://app.example.com/x", "filesystem:https://app.example.com/x", "file:///etc/passwd", "file://app.example.com/x",
		"ftp://app.example.com/", "ws://app.example.com/", "wss://app.example.com/", "about:blank", "mailto:a@evil.example", "view-source:https://app.example.com/",
		"http://app.example.com/", "http://login.example.com/", "HTTPS://app.example.com/", "https://APP.example.com/", "https://app.example.com:443/", "https://app.example.com:80/", "https://app.example.com:/",
		"https://port.example.com/", "https://port.example.com:8444/", "https://port.example.com:8443@evil.example/", "https://port.example.com:84430/",
		"https://app.example.com.evil.example/", "https://app.example.com./", "https://evil.app.example.com/", "https://evilapp.example.com/", "https://app.example.comevil.example/", "https://app.example.com-evil.example/",
		"https://app.example.com@evil.example/", "https://app.example.com:x@evil.example/", "https://user@app.example.com/", "https://user:pw@app.example.com/", "https://@app.example.com/", "https://:@app.example.com/", "https://evil.example@app.example.com/",
		"https://app.example.com%40evil.example/", "https://app.example.com%2eevil.example/", "https://app.example.com%00.evil.example/", "https://app.example.com%2f.evil.example/", "https://app.example.com%5c.evil.example/", "https://app.example.com%23.evil.example/",
		`https://app.example.com\@evil.example/`, `https://app.example.com\.evil.example/`, `https://app.example.com\evil`, `https://evil.example\@app.example.com/`, `https://evil.example\.app.example.com/`, "https://evil.example#@app.example.com/", "https://evil.example?@app.example.com/", "https://evil.example;@app.example.com/",
		"https://app.example.com?x", "https://app.example.com#x", "https://app.example.com?@evil.example", "https://app.example.com//evil.example", `https://app.example.com/\evil.example`, "https://app.example.com/../x", "https://app.example.com/%2e%2e//x", "https://app.example.com/%0d%0ax", "https://app.example.com/%5cx",
		"https://app.example.com/\r\nSet-Cookie: a=b", "/x\r\nLocation: https://evil.example", "/x\ny", "/é", "/\u2028/evil.example", "/\uff0fevil.example", "\uff0f\uff0fevil.example", "https://app\u3002example.com/", "https://ａpp.example.com/", "https://app.example.com\uff0f.evil.example/", "https://evil.example\u3002app.example.com/", "https://app\u00ad.example.com/",
		"https://xn--app-.example.com/", "https://0x7f000001/", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "//[::1]/", "//app.example.com/", "//app.example.com", "///app.example.com/", `/\app.example.com/`, "://app.example.com/", "https//app.example.com/", "https:app.example.com/", "https://app.example.com /", "https:// app.example.com/",
		"<https://app.example.com/>", `"https://app.example.com/"`, `/"onmouseover=x`, "/<script>", "/a b", "/\xff", "/\xc0\xaf", "https://app.example.com/\xff", "[/x]", "(/x)", "null", "undefined", "@evil.example", ":80/", "::", "*",
		"/" + strings.Repeat("a", flow.MaxTarget), "https://app.example.com/" + strings.Repeat("a", flow.MaxTarget),
	}
	// White space and control characters that browsers strip or ignore, in every place in which they could matter.
	for _, c := range []string{"\t", "\n", "\r", "\x00", "\x08", "\x0b", "\x1c", " ", "\u00a0", "\u2003", "\ufeff", "%09", "%0A", "%0d", "%00", "%5C", `\`} {
		bad = append(bad, c+"/x", "/"+c+"/evil.example", "/"+c+c+"evil.example", c+"//evil.example", "/"+c+`\evil.example`, "https:"+c+"//evil.example", "https://app.example.com"+c+"@evil.example/", "https://app.example.com"+c+".evil.example/")
	}
	return bad
}
