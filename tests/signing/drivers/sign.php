<?php
// Reads lists of pairs and prints what the snippet makes of each.
require __DIR__ . '/snippet.php';

foreach (json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR) as $pairs) {
    echo sign($argv[1], $pairs), "\n";
}
