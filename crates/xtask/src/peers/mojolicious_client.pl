# A client of the echo program on Mojolicious, which keeps its compressor whatever it has agreed to: sends the messages of a file one
# by one, and compares what comes back.
#
#     perl mojolicious_client.pl URL FILE
use strict;
use warnings;
use Encode qw(decode encode);
use Mojo::IOLoop;
use Mojo::UserAgent;

my ($url, $file) = @ARGV;
# Ends this program if it is not done within a minute.
alarm 60;

open my $opened, '<:raw', $file or die "$file: $!";
my $octets = do { local $/; <$opened> };
my @messages;
# Each message: 1 for a text or 2, the number of fragments, the length in 4 octets, the data.
while (length $octets) {
  my ($kind, undef, $length) = unpack 'CCN', $octets;
  push @messages, [$kind, substr $octets, 6, $length];
  substr $octets, 0, 6 + $length, '';
}

my $failed = 'the connection has not come about';
my $agent  = Mojo::UserAgent->new;
$agent->websocket(
  $url => {'Sec-WebSocket-Extensions' => 'permessage-deflate'} => sub {
    my (undef, $tx) = @_;
    return Mojo::IOLoop->stop unless $tx->is_websocket;
    my $number = 0;
    my $next   = sub {
      my ($kind, $data) = @{$messages[$number]};
      $tx->send($kind == 1 ? {text => $data} : {binary => $data});
    };
    my $came = sub {
      my $data = shift;
      if ($data ne $messages[$number][1]) {
        $failed = "message $number did not come back as it was sent";
        return $tx->finish;
      }
      return $next->() if ++$number < @messages;
      $failed = undef;
      $tx->finish(1000);
    };
    $tx->on(text   => sub { $came->($_[1]) });
    $tx->on(binary => sub { $came->($_[1]) });
    $tx->on(finish => sub {
      my (undef, $code, $reason) = @_;
      $failed //= $code == 1000 ? undef : "closed with $code";
      $failed .= ', closed with ' . ($code // '') . ' ' . ($reason // '') if $failed;
      # Its Close frame has yet to be written.
      Mojo::IOLoop->timer(0.1 => sub { Mojo::IOLoop->stop });
    });
    $failed = 'it did not end';
    $next->();
  }
);
Mojo::IOLoop->start;
die "$failed\n" if $failed;
