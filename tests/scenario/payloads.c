#include "payloads.h"

// RFC 5905: version 4, client.
static const uint8_t ntp[48] = {0x23, 0, 6, 0xec};

// RFC 1035: example.com ANY, recursion desired.
static const uint8_t dns_query[] = {0x12, 0x34, 0x01, 0x00, 0,   1,   0,   0,   0,   0,
                                    0,    0,    7,    'e',  'x', 'a', 'm', 'p', 'l', 'e',
                                    3,    'c',  'o',  'm',  0,   0,   255, 0,   1};

// The same with an answer: A 198.18.0.1.
static const uint8_t dns_response[] = {
    0x12, 0x34, 0x81, 0x80, 0,   1, 0,   1,   0,    0, 0, 0,   7,  'e', 'x',
    'a',  'm',  'p',  'l',  'e', 3, 'c', 'o', 'm',  0, 0, 1,   0,  1,   0xc0,
    0x0c, 0,    1,    0,    1,   0, 0,   1,   0x2c, 0, 4, 198, 18, 0,   1};

// RFC 1157: get-next-request 1.3.6.1.2.1, community public.
static const uint8_t snmp[] = {0x30, 0x24, 0x02, 0x01, 0x00, 0x04, 0x06, 'p',  'u',  'b',
                               'l',  'i',  'c',  0xa1, 0x17, 0x02, 0x01, 0x01, 0x02, 0x01,
                               0x00, 0x02, 0x01, 0x00, 0x30, 0x0c, 0x30, 0x0a, 0x06, 0x06,
                               0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x05, 0x00};

static const char ssdp[] = "M-SEARCH * HTTP/1.1\r\nMAN:\"ssdp:discover\"\r\nMX:1\r\nST:a:b\r\n\r\n";
static const char sip[] = "OPTIONS sip:1@198.18.0.1 SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n";
static const char memcached[] = "\0\1\0\0\0\1\0\0stats\r\n";
static const uint8_t coap[] = {0x40, 0x01, 0x7d, 0x70}; // RFC 7252: GET

struct payload udp_payload(uint16_t port)
{
    switch (port) {
    case 53:
        return (struct payload){dns_query, sizeof(dns_query)};
    case 123:
        return (struct payload){ntp, sizeof(ntp)};
    case 161:
        return (struct payload){snmp, sizeof(snmp)};
    case 1900:
        return (struct payload){ssdp, sizeof(ssdp) - 1};
    case 5060:
        return (struct payload){sip, sizeof(sip) - 1};
    case 5683:
        return (struct payload){coap, sizeof(coap)};
    case 11211:
        return (struct payload){memcached, sizeof(memcached) - 1};
    default:
        return (struct payload){"", 0};
    }
}

struct payload dns_answer(void)
{
    return (struct payload){dns_response, sizeof(dns_response)};
}
