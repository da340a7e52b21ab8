// Package integration tests the deployed services over HTTP, from inside the
// cluster: its test binary runs as a Job.
//
// Its tests are behind the build tag "integration", so that go test ./... needs
// no cluster. CATALOG_URL and CART_URL say where the services are.
package integration
