<?php
// Signs launches of {{NAME}}. On your server only: the secret must never reach a page.
// PHP 8.0 or later, where usort keeps the order of equal names.

/** What goes behind the `?`. $pairs is a list of [name, value]. */
function sign(string $secret, array $pairs = []): string
{
    if (!in_array('timestamp', array_column($pairs, 0), true)) {
        $pairs[] = ['timestamp', (string) (int) (microtime(true) * 1000)];
    }
    $units = fn(array $pair): string => iconv('UTF-8', 'UTF-16BE', $pair[0]);
    usort($pairs, fn(array $one, array $other): int => strcmp($units($one), $units($other)));
    $encode = fn(string $text): string => str_replace('%2A', '*', urlencode($text));
    $print = fn(array $pair): string => $encode($pair[0]) . '=' . $encode($pair[1]);
    $text = implode('&', array_map($print, $pairs));
    return $text . '&signature=' . hash_hmac('sha256', $text, $secret);
}

// $url = '{{URL}}?' . sign(getenv('SIGNING_SECRET'), [{{EXAMPLE_PHP}}]);
