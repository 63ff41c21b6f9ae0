<?php
// Writes what PHP's encoders make of each value, alone and in a text. See encoded.md.
$encoders = [
    'json_encode' => fn($text) => substr(json_encode($text), 1, -1),
    'json_encode twice' => fn($text) => substr(json_encode(json_encode($text)), 3, -3),
    'json_encode JSON_UNESCAPED_SLASHES' => fn($text) => substr(json_encode($text, JSON_UNESCAPED_SLASHES), 1, -1),
    'json_encode JSON_UNESCAPED_UNICODE' => fn($text) => substr(json_encode($text, JSON_UNESCAPED_UNICODE), 1, -1),
    'urlencode' => 'urlencode',
    'rawurlencode' => 'rawurlencode',
    'htmlspecialchars' => 'htmlspecialchars',
    'htmlspecialchars ENT_NOQUOTES' => fn($text) => htmlspecialchars($text, ENT_NOQUOTES),
    'var_export' => fn($text) => substr(var_export($text, true), 1, -1),
];
$line = fn($by, $value, $encoded, $text) =>
    print(implode("\t", ["PHP $by", bin2hex($value), bin2hex($encoded), bin2hex($text)]) . "\n");
foreach (file($argv[1], FILE_IGNORE_NEW_LINES) as $value) {
    foreach ($encoders as $by => $encode) {
        $line($by, $value, $encode($value), $encode("user=$value, next"));
    }
    foreach (['', 'u', 'me', 'user:'] as $before) {
        $line('base64_encode', $value, '', base64_encode("$before$value@"));
        $line('json_encode of base64_encode', $value, '', json_encode(base64_encode("$before$value@")));
    }
}
