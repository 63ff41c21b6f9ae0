#!/usr/bin/perl
# Stands for the services of task-definitions/: it does with the sidecar what an app does, and nothing else.
#   /app serve    answers GET on $PORT, and says so           /app health   asks it
#   /app work     works until it is told to stop              /app job      prints a hundred lines and ends
#   /app batch    works until it is told to stop, and then says where it was
#   /app storm    prints ten thousand lines a second until it is told to stop
# At its start it says whether the files named by *_FILE can be read, and sends a segment to the X-Ray daemon's address.
use strict; use warnings; use IO::Socket::INET;
$| = 1;
my $what = shift @ARGV // "serve";
my $service = $ENV{SERVICE} // "app";

if ($what eq "health") {
    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ENV{PORT}, Timeout => 2) or exit 1;
    print $socket "GET /health HTTP/1.0\r\n\r\n";
    exit(<$socket> =~ / 200 / ? 0 : 1);
}

my $stopped = 0;
$SIG{TERM} = sub { $stopped = 1 };
$SIG{PIPE} = "IGNORE";
for my $variable (sort grep { /_FILE$/ } keys %ENV) {
    my $file;
    my $read = open($file, "<", $ENV{$variable}) && length(join "", <$file>);
    print "$service file $variable ", ($read ? "can be read" : "cannot be read"), "\n";
}
if (my $to = $ENV{AWS_XRAY_DAEMON_ADDRESS}) {
    my ($time, $id) = (time, sprintf "%08x%08x", $$, rand 2**31);
    my $trace = sprintf "1-%08x-%s%08x", $time, $id, rand 2**31;
    my $document = qq({"name":"$service","id":"$id","trace_id":"$trace","start_time":$time.0,"end_time":$time.5});
    my $socket = IO::Socket::INET->new(PeerAddr => $to, Proto => "udp") or die "$to: $!";
    print $socket qq({"format":"json","version":1}\n$document);
    print "$service trace $trace\n";
}
if (my $host = $ENV{STATSD_HOST}) {
    my $socket = IO::Socket::INET->new(PeerAddr => "$host:8125", Proto => "udp") or die "$host: $!";
    print $socket "$service.started:1|c";
}
if ($what eq "job") {
    print "$service line $_\n" for 1 .. 100;
    exit 0;
}
if ($what eq "storm") {
    my $number = 0;
    until ($stopped) {
        print "$service storm ", ++$number, " ", "x" x 100, "\n" for 1 .. 100;
        select undef, undef, undef, 0.01;
    }
    exit 0;
}
if ($what eq "serve") {
    my $listener = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 16, ReuseAddr => 1) or die "port: $!";
    $listener->timeout(1);
    print "$service ready\n";
    until ($stopped) {
        my $client = $listener->accept or next;
        my $request = <$client> // "";
        # What is not read when it is closed makes a reset of the answer.
        while (defined(my $line = <$client>)) { last unless $line =~ /\S/; }
        print $client "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        close $client;
        $request =~ s/\s+$//;
        print "$service request $request\n" unless $request =~ m{ /health };
    }
} else {
    print "$service ready\n";
    my $number = 0;
    until ($stopped) { $number++; print "$service item $number\n"; select undef, undef, undef, 0.05; }
    print "$service checkpoint $number\n" if $what eq "batch";
}
print "$service stopped\n";
exit 0;
