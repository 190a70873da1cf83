# Reads lists of pairs and prints what the snippet makes of each.
require "json"
require_relative "snippet"

JSON.parse($stdin.set_encoding("UTF-8").read).each { |pairs| puts sign(ARGV[0], pairs) }
