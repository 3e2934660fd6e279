package certs

// WriteServerTo is WriteServer on a file system of the test's choice.
var WriteServerTo = writeServer
