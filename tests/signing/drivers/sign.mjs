// Reads lists of pairs and prints what the snippet makes of each.
import { readFileSync } from 'node:fs';
import { sign } from './snippet.mjs';

for (const pairs of JSON.parse(readFileSync(0, 'utf8'))) console.log(sign(process.argv[2], pairs));
