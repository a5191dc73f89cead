package quillhttp

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
)

//go:embed page.html
var pageHTML []byte

//go:embed page.css
var pageCSS []byte

//go:embed page.js
var pageJS []byte

// page is the whole document, and policy lets it run its own script, by its sum, and ask its own server, and nothing else.
var (
	page = bytes.Replace(bytes.Replace(pageHTML, []byte("{{style}}"), pageCSS, 1), []byte("{{script}}"), pageJS, 1)

	policy = "default-src 'none'; script-src " + sum(pageJS) + "; style-src " + sum(pageCSS) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

// sum returns what names an inline script or style in a policy.
func sum(text []byte) string {
	hash := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}
