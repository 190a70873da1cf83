# Signs launches of {{NAME}}. On your server only: the secret must never reach a page.
require "openssl"
require "uri"

# What goes behind the `?`. `pairs` is a hash, or a list of [name, value].
def sign(secret, pairs = {})
  pairs = pairs.map { |name, value| [name.to_s, value.to_s] }
  unless pairs.any? { |name, _| name == "timestamp" }
    pairs << ["timestamp", (Time.now.to_r * 1000).to_i.to_s]
  end
  # Ruby's sort does not keep the order of equal names: their place decides.
  pairs = pairs.each_with_index.sort_by { |(name, _), at| [name.encode("UTF-16BE").b, at] }.map(&:first)
  text = URI.encode_www_form(pairs)
  "#{text}&signature=#{OpenSSL::HMAC.hexdigest("SHA256", secret, text)}"
end

# url = "{{URL}}?" + sign(ENV.fetch("SIGNING_SECRET"), { {{EXAMPLE_RB}} })
