# A server on Perl's Mojolicious that compresses, and sends back every message on /echo.
#
#     perl mojolicious_server.pl
#
# It ends when its input does.

use Mojolicious::Lite -signatures;
use Mojo::IOLoop;
use Mojo::Server::Daemon;

app->log->level('fatal');

websocket '/echo' => sub ($c) {
  $c->tx->with_compression;
  $c->on(text   => sub ($c, $octets) { $c->send({text   => $octets}) });
  $c->on(binary => sub ($c, $octets) { $c->send({binary => $octets}) });
};

my $daemon = Mojo::Server::Daemon->new(app => app, listen => ['http://127.0.0.1:0'], silent => 1);
$daemon->start;
$| = 1;
print "listening on 127.0.0.1:$_\n" for $daemon->ports->@*;
Mojo::IOLoop->singleton->reactor->io(\*STDIN => sub { exit unless sysread STDIN, my $input, 4096 })
  ->watch(\*STDIN, 1, 0);
$daemon->run;
