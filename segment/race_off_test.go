//go:build !race

package segment

const raceBuild = false
